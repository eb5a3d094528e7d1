"""The language of users and of the two planes: the models of the resources, of outcomes and of progress."""

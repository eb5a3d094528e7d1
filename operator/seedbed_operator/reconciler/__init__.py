"""One pass at a time for each job, whenever something it depends on may have changed."""

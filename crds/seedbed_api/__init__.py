"""The API of Seedbed: models of the resources, and the contract between operator and pods."""

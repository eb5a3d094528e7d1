"""The real servers of the tests: built from pinned Go modules, started per test session, gone with its process."""

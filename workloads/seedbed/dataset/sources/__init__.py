"""Sources of rows that are no files of their own: tables, archives and arrays, read through the storage.

Each format has one module that lists its rows; `row_collector` turns rows into the listing of a build.
"""

"""Rows of HDF5 files as samples."""

"""Texts as samples."""

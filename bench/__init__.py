"""Measurements. Each prints a ratio against a baseline from the same run; the times beside it are the illustration."""

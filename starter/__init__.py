"""The starter model: its text, its training, its measurement, its weights. Nothing here is imported by the app."""

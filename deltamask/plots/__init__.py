"""Charts and pictures, for the dashboard, the notebooks and the documents alike."""

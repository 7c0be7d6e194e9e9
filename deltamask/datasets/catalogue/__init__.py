"""One file a dataset or family of datasets. Each registers itself; `deltamask.datasets` imports whatever is here."""

"""Make, fetch, split and check dataset folders."""

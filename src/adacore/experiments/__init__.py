"""Set-ups of the paper's figures and tables, one YAML file each, and small versions of their data."""

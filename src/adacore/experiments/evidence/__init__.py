"""Evidence: what paired runs of several methods say."""

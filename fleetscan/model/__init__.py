"""The language of the pipeline: frozen values that every layer above may use."""

"""PLACEHOLDER."""

if __name__ != "edgeml.quantize":
    raise ImportError("import edgeml.quantize, not quantize: the folder at the top is reached by a link")

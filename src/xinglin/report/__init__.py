"""A run folder as plain data (``summary``), as one HTML page (``page``) and as a loss plot (``plots``)."""

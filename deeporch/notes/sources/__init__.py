"""Sources of notes, one module each: ``VERSION``, ``find`` (names only) and ``read`` (note after note)."""

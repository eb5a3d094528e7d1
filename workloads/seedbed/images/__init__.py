"""Image files: inspect them, repair them, decode them to pixels; parsers of JPEG, PNG and TIFF structure."""

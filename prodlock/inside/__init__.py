"""Programs that run in build steps, with the standard library of the image's interpreter."""

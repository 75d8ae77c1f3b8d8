"""Programs of the development loop. They run in a container that has the working tree mounted at /srv."""

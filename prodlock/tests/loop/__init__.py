"""Tests of the programs of the development loop, in a process of their own."""

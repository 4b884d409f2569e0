"""Desired state: what the files of the state repo say, validated. Pure: no I/O, no clock, no git.

`model` has the values, `parse` reads one file, `resolve` puts the files of one revision together, `state` has
what comes out. Import from the modules: this package itself stays cheap to import.
"""

"""The files of other annotation tools and editors, one module per family.

Each module has one or more :class:`~hrpro.pipeline.results.formats.Format`; the table of suffixes
is in :mod:`hrpro.pipeline.results.formats`. What they all agree on:

- A mark without length (start == end) is a point. Formats that cannot hold one write the shortest
  span they know, a millisecond or a frame, and read such a span as a point again.
- A label made by a person has the score 1.
- Times are rounded to what the format counts in, never cut, so that a time on the boundary of a
  frame comes back to the same frame.
"""

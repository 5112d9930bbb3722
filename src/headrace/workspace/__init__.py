"""The composition root: an open environment gives one lazy property a box, and no business method.

Operations use it; nothing below imports it, and no face does.
"""

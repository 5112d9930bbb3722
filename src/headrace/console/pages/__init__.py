"""The pages: a file for each subject. A page asks operations, and gives a template what they return."""

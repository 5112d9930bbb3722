"""Prompts: templates of chat messages, kept as files of the project, whose values can never become instructions.

Declared (`declarations`), identified and packaged (`version`), split into roles (`sections`), compiled in a sandbox
(`template`, `syntax`, `sandbox`, `filters`), and rendered from cleaned values (`values`). Calling a language model with the
messages is the gateway's business, and making a prompt better is that of `headrace.llm.tuning`.
"""

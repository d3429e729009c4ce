"""What griffe, which reads the docstrings, is taught for this site."""

import re

import griffe


class Examples(griffe.Extension):
    """Shows sections named ``Example:``, which the docstrings here have, as code: griffe knows ``Examples:`` alone."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section in the docstring of an object that was read."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)

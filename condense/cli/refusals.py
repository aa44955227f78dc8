"""What went wrong, in words that say what to do."""

from __future__ import annotations

import errno

_HINTS = {
    errno.ENOSPC: "free some space, then run the same command again: it resumes",
    errno.EDQUOT: "free some of your quota, then run the same command again: it resumes",
    errno.EACCES: "choose a place that you may use, or change its permissions",
    errno.EPERM: "choose a place that you may use, or change its permissions",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOTDIR: "a file stands where a folder is needed; remove it or choose another place",
    errno.EEXIST: "something stands there already; remove it or choose another place",
    errno.EISDIR: "a folder stands where a file is needed; remove it or choose another place",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def explain(error: OSError) -> str:
    """What the system refused, where, and what to do about it."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    from condense import files  # here, because help must answer at once

    # Of a renaming, only its target has a name that the user knows.
    named = error.filename if error.filename2 is None else error.filename2
    place = "" if named is None else f"{files.intended(str(named))}: "
    hint = _HINTS.get(error.errno or 0)
    return place + reason + (f"; {hint}" if hint else "")


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, or PyTorch on either device, found no room; told by names, since PyTorch may not be loaded."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or ("can't allocate memory" in str(error))
    )

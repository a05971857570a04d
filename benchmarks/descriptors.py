"""Thousands of sockets need more file descriptors than a shell allows by default."""

import resource


def raise_descriptor_limit(wanted: int) -> None:
    """See that so many files can be open.

    Raises:
        SystemExit: the system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{wanted} open files are needed and {hard} are allowed: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""The version of this package, as installed."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Return the version; "unknown" in a checkout that is not installed."""
    try:
        return version("coupled-images")
    except PackageNotFoundError:
        return "unknown"

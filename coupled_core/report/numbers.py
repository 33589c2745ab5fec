"""Numbers as people read them."""

import math

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits and a true minus sign."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    if value == 0:
        return "0"
    # Digits behind the point, so that `digits` of them are significant.
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(places, 6)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def format_count(value: int) -> str:
    """Return a count with separators."""
    return f"{value:,}"


def format_percent(part: float, whole: float) -> str:
    """Return a share in percent; a dash where there is nothing to share."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.0f}%" if percent >= 10 or percent == 0 else f"{percent:.1f}%"


def format_duration(seconds: float | None) -> str:
    """Return a time in the two units that matter."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{format_number(seconds, 2)} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:.0f} h"


def format_money(usd: float | None) -> str:
    """Return dollars; small amounts keep two significant digits."""
    if usd is None:
        return "–"
    if usd == 0 or usd >= 0.1:
        return f"${usd:,.2f}"
    return f"${format_number(usd, 2)}"


def format_bytes(size: int) -> str:
    """Return a size in decimal units."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{format_number(value)} {unit}"


def elide(text: str | None, max_chars: int) -> str:
    """Return a text, cut where it is too long for a page."""
    plain = text or ""
    return plain if len(plain) <= max_chars else plain[: max_chars - 1] + "…"

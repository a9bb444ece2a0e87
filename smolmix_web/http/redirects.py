"""Redirects as the Fetch standard has them (HTTP-redirect fetch), as one pure decision.

Two rules go further, as in the official client: https leads to http only where that is allowed, and the caller's
cookies do not leave the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import HttpError
from .exchange import Body, ResponseHead
from .headers import BODY_HEADERS, CREDENTIALS, Headers, get_all, without
from .replay import Rewindable
from .url import Url, join_url

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class NextRequest:
    method: str
    url: Url
    headers: Headers
    body: Body


def is_redirect(head: ResponseHead) -> bool:
    """A status of redirection with a Location; without one it is an ordinary response."""
    return head.status in REDIRECT_STATUSES and bool(get_all(head.headers, "location"))


def next_request(
    head: ResponseHead, method: str, url: Url, headers: Headers, body: Body, *, allow_insecure: bool = False
) -> NextRequest:
    """The request to send instead, or `HttpError` (`bad_redirect`, `insecure_redirect`, `body_not_replayable`)."""
    locations = set(get_all(head.headers, "location"))
    if len(locations) != 1:
        raise _refused("bad_redirect", f"{url}: {len(locations)} different Location headers")
    try:
        # Header bytes are UTF-8 where a server puts them unescaped.
        location = locations.pop().encode("latin-1").decode("utf-8", "replace")
        target = join_url(url, location)
    except HttpError as error:
        raise _refused("bad_redirect", f"{url} redirects to {error.message}") from None
    if target.fragment is None and url.fragment is not None:
        target = replace(target, fragment=url.fragment)
    if url.secure and not target.secure and not allow_insecure:
        raise _refused("insecure_redirect", f"{url} redirects to {target}, which is not secure")
    if head.status != 303 and body is not None and not isinstance(body, (bytes, Rewindable)):
        raise _refused("body_not_replayable", f"{url}: a {head.status} redirect needs the request body a second time")
    if (head.status in (301, 302) and method == "POST") or (head.status == 303 and method not in ("GET", "HEAD")):
        method, body = "GET", None
        headers = without(headers, BODY_HEADERS)
    if target.origin != url.origin:
        if target.authorization is not None:
            raise _refused("bad_redirect", f"{url} redirects to another origin with credentials in the URL")
        headers = without(headers, CREDENTIALS)
    elif target.authorization is None:
        target = replace(target, authorization=url.authorization)
    return NextRequest(method, target, headers, body.rewind() if isinstance(body, Rewindable) else body)


def _refused(code: str, message: str) -> HttpError:
    return HttpError(message, code=code, phase="redirect")

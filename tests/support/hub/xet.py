"""The storage server of Xet, on the second port: what hf_xet uploads to and downloads from.

An upload is some xorbs (chunks of bytes, one after the other) and one shard (a table: which file is which chunks).
Both stay in memory, as the client may name any chunk that it has ever sent, also years later; what a bucket's files
hold is written down when a batch names them. A download is an answer that says where the chunks are, then the chunks.
What the client asks for beside that (grants, duplicates elsewhere, telemetry) is not there: it then does without.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from starlette.responses import JSONResponse, Response

from .buckets import Bucket
from .repos import not_found
from .wire import Call, HubError, Route, ranged

_LIFETIME = 3600  # seconds for which a token of the storage server is good
_CHUNK = 65_536  # bytes in each chunk of an answer
_NO_FILE = "0" * 64  # the hash of nothing


@dataclass(frozen=True)
class Term:
    """Chunks `start` up to, not including, `end` of a xorb."""

    xorb: str
    start: int
    end: int


class Uploads:
    """What the storage server was sent and has not forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._xorbs: dict[str, list[bytes]] = {}
        self._files: dict[str, list[Term]] = {}

    def add_xorb(self, name: str, chunks: list[bytes]) -> bool:
        with self._lock:
            return self._xorbs.setdefault(name, chunks) is chunks

    def add_files(self, files: dict[str, list[Term]]) -> None:
        with self._lock:
            missing = [t.xorb for terms in files.values() for t in terms if t.end > len(self._xorbs.get(t.xorb, ()))]
            if missing:
                raise HubError(400, "The shard names a xorb that was never sent.")
            self._files.update(files)

    def content(self, xet_hash: str) -> bytes | None:
        """A file's bytes; None where it was never sent."""
        if xet_hash == _NO_FILE:
            return b""
        with self._lock:
            terms = self._files.get(xet_hash)
            if terms is None:
                return None
            return b"".join(b"".join(self._xorbs[term.xorb][term.start : term.end]) for term in terms)

    def clear(self) -> None:
        with self._lock:
            self._xorbs.clear()
            self._files.clear()


def token_answer(call: Call, bucket: Bucket, access: str) -> Response:
    """Where the storage server is, and a credential for it; in the body for hf_xet, in headers for huggingface_hub."""
    expires = int(call.hub.clock()) + _LIFETIME
    # The client keeps what it has sent before by this address, so it is another one for every Hub and bucket.
    own = hashlib.sha256(call.hub.secret).hexdigest()[:16]
    url = f"{call.hub.files_endpoint}/xet/{own}/{bucket.id}"
    token = f"{access}.{expires}.{_sign(call, bucket.id, access, expires)}"
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
    return JSONResponse({"casUrl": url, "exp": expires, "accessToken": token}, headers=headers)


def _sign(call: Call, bucket_id: str, access: str, expires: int) -> str:
    return hmac.new(call.hub.secret, f"{access} {bucket_id} {expires}".encode(), hashlib.sha256).hexdigest()


def _bucket(call: Call, wanted: str) -> Bucket:
    """The bucket of the address, for one whose storage token allows what is `wanted` ("read" or "write")."""
    token = call.request.headers.get("authorization", "").partition(" ")[2]
    access, _, rest = token.partition(".")
    expires = rest.partition(".")[0]
    known = expires.isdecimal() and hmac.compare_digest(
        rest.partition(".")[2], _sign(call, call.params["repo"], access, int(expires))
    )
    if not known or int(expires) < call.hub.clock() or (wanted == "write" and access != "write"):
        raise HubError(401, "The storage token is not good for this.")
    bucket = call.hub.buckets.find(call.params["repo"])
    if bucket is None:
        raise not_found("Bucket not found")
    return bucket


def put_xorb(call: Call) -> Response:
    _bucket(call, "write")
    return JSONResponse({"was_inserted": call.hub.uploads.add_xorb(call.params["oid"], list(_chunks(call.body)))})


def _chunks(xorb: bytes) -> Iterator[bytes]:
    """Each chunk: a byte of version, 3 of length, 1 of compression, 3 of length uncompressed; then the bytes."""
    at = 0
    while at + 8 <= len(xorb) and xorb[at] == 0:
        length, scheme = int.from_bytes(xorb[at + 1 : at + 4], "little"), xorb[at + 4]
        size = int.from_bytes(xorb[at + 5 : at + 8], "little")
        data = xorb[at + 8 : at + 8 + length]
        at += 8 + length
        if scheme:
            data = pa.decompress(data, size, codec="lz4", asbytes=True)
        if scheme == 2:  # the bytes 0, 4, 8, ... first, then 1, 5, 9, ...
            data = _ungrouped(data)
        yield data


def _ungrouped(data: bytes) -> bytes:
    result, at = bytearray(len(data)), 0
    for first in range(4):
        count = len(range(first, len(data), 4))
        result[first::4] = data[at : at + count]
        at += count
    return bytes(result)


def put_shard(call: Call) -> Response:
    _bucket(call, "write")
    call.hub.uploads.add_files(_files_of(call.body))
    return JSONResponse({"result": 1})


def _files_of(shard: bytes) -> dict[str, list[Term]]:
    """The table of files: 48 bytes of head; per file 48 bytes (hash, flags, count), 48 for each term, what flags add."""
    files, at = {}, 48
    while at + 48 <= len(shard) and shard[at : at + 32] != b"\xff" * 32:
        name, flags, count = _hash(shard[at : at + 32]), *struct.unpack_from("<II", shard, at + 32)
        terms = []
        for number in range(count):
            place = at + 48 * (number + 1)
            _, _, start, end = struct.unpack_from("<IIII", shard, place + 32)
            terms.append(Term(_hash(shard[place : place + 32]), start, end))
        files[name] = terms
        verified, described = bool(flags & 1 << 31), bool(flags & 1 << 30)
        at += 48 * (1 + count * (1 + verified) + described)
    return files


def _hash(raw: bytes) -> str:
    """As Xet writes it: four numbers of 8 bytes, each little-endian."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def reconstruction(call: Call) -> Response:
    """Where to fetch the part of a file that the `Range` asks for. We send one xorb with the whole file in it."""
    bucket, name = _bucket(call, "read"), call.params["oid"]
    size = _size(bucket, name)
    first, _, last = call.request.headers.get("range", "").removeprefix("bytes=").partition("-")
    start, end = int(first or 0), min(int(last) + 1 if last else size, size)
    if start >= size:
        return Response(status_code=416)
    chunks = {"start": start // _CHUNK, "end": -(-end // _CHUNK)}
    length = min(chunks["end"] * _CHUNK, size) - chunks["start"] * _CHUNK
    url = f"{call.hub.files_endpoint}{call.request.url.path.rpartition('/v1/')[0]}/chunks/{name}"
    expires = int(call.hub.clock()) + _LIFETIME
    signature = _sign(call, f"{bucket.id} {name}", "chunks", expires)
    framed = {"start": chunks["start"] * (_CHUNK + 8), "end": _framed(min(chunks["end"] * _CHUNK, size)) - 1}
    fetch = {"range": chunks, "url": f"{url}?expires={expires}&signature={signature}", "url_range": framed}
    return JSONResponse(
        {
            "offset_into_first_range": start - chunks["start"] * _CHUNK,
            "terms": [{"hash": name, "unpacked_length": length, "range": chunks}],
            "fetch_info": {name: [fetch]},
        }
    )


def _framed(size: int) -> int:
    """The length of so many bytes once they are chunks."""
    return size + 8 * -(-size // _CHUNK)


def _size(bucket: Bucket, name: str) -> int:
    path = bucket.content(name)
    if not path.is_file():
        raise HubError(404, "No such file.")
    return path.stat().st_size


def get_chunks(call: Call) -> Response:
    """A file as a xorb. Whoever has the address needs no token, as long as it is good."""
    name, query = call.params["oid"], call.query
    expires = int(query.get("expires", "0"))
    right = _sign(call, f"{call.params['repo']} {name}", "chunks", expires)
    if expires < call.hub.clock() or not hmac.compare_digest(query.get("signature", ""), right):
        raise HubError(403, "The address has expired or its signature does not match.")
    bucket = call.hub.buckets.find(call.params["repo"])
    if bucket is None or not bucket.content(name).is_file():
        raise HubError(404, "No such file.")
    content = bucket.content(name).read_bytes()
    parts = [content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK)]
    return ranged(call, b"".join(_header(len(part)) + part for part in parts), {})


def _header(length: int) -> bytes:
    size = length.to_bytes(3, "little")
    return b"\0" + size + b"\0" + size


FILE_ROUTES: list[Route] = [
    ("POST", "/xet/{hub}/{repo}/v1/xorbs/default/{oid}", put_xorb),
    ("POST", "/xet/{hub}/{repo}/v1/shards", put_shard),
    ("GET", "/xet/{hub}/{repo}/v1/reconstructions/{oid}", reconstruction),
    ("GET", "/xet/{hub}/{repo}/chunks/{oid}", get_chunks),
]

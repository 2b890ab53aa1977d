"""Hosts: names, addresses in all notations, and hosts that are not on the public internet."""

import ipaddress
import socket
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from aiorooms._webhook_url import WebhookUrlPolicy, is_loopback

from .helpers import PUBLIC, hostish, messages, suggestions, thorough

BAD = {
    # host names
    "https://./": "has an empty label in its host; each label, the part between two dots, needs at least one character",
    "https://.../": "has an empty label",
    "https://a..b/": "has an empty label in its host; did you mean 'https://a.b/'?",
    "https://.a.b/": "did you mean 'https://a.b/'?",
    "https://a.b../": "did you mean 'https://a.b/'?",
    "https://a。。b/": "has an empty label",
    f"https://{'a' * 64}.io/": "has a label of 64 characters in its host; a label has at most 63",
    f"https://{'.'.join(['a' * 49] * 5)}.abcd/": "has a host of 254 characters; a host name has at most 253 (RFC 1035)",
    f"https://{'a.' * 200}io/": "has a host of 402 characters",
    f"https://{'.'.join(['äëïöüáéíóúàèìòùâêîôû'] * 9)}/": "has a host of",
    "https://-a.io/": "has a label in its host that begins or ends with '-'",
    "https://a-.io/": "has a label in its host that begins or ends with '-'",
    "https://a*b.io/": "(U+002A ASTERISK); a host name has letters, digits, '-' and '.' (RFC 1123)",
    "https://$HOST/x": "(U+0024 DOLLAR SIGN)",
    "https://a.io,b.io/": "(U+002C COMMA)",
    "https://a[b]/": "(U+005B LEFT SQUARE BRACKET)",
    "https://a[::1]/": "has an extra ':' after its host",
    "https://xn--/": "has a host name that IDNA does not allow",
    "https://xn--a.io/": "has a host name that IDNA does not allow",
    "https://xn--99999/": "has a host name that IDNA does not allow",
    "https://a\ue000.io/": "has a host name that IDNA does not allow",
    "https://a…b.io/": "has a host name that IDNA does not allow",
    "https://faß.de/": "which IDNA 2003 replaces and IDNA 2008 keeps; did you mean 'https://xn--fa-hia.de/'?",
    "https://σας.example/": "has 'ß' or 'ς' in its host",
    "https://💩faß.de/": "has 'ß' or 'ς' in its host, which IDNA 2003 replaces and IDNA 2008 keeps; write the form",
    "https://💩Ꮵ.de/": "has a host name that IDNA does not allow",
    "https://💩ₖ.de/": "has a host name that IDNA does not allow",
    "https://-bücher.de/": "has a host name that IDNA does not allow",
    "https://\u0301a.de/": "has a host name that IDNA does not allow",
    "https://a\u0378.de/": "has a host name that IDNA does not allow",
    "https://⒈io/": "has a host name that IDNA does not allow",
    "https://℀.io/": "has a host name that IDNA does not allow",
    "https://［.io/": "has a host name that IDNA does not allow",
    "https://［a.io/": "has a host name that IDNA does not allow",
    "https://a／b.io/": "has a host name that IDNA does not allow",
    "https://a＠b.io/": "has a host name that IDNA does not allow",
    f"https://{'ü' * 60}.io/": "has a host name that IDNA does not allow",
    "https://ｅｘａｍｐｌｅ.com/": "has lookalikes of ASCII characters in its host; did you mean 'https://example.com/'?",
    "https://example。com/": "did you mean 'https://example.com/'?",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/": "did you mean 'https://localhost/'?",
    "https://ex%41mple.com/": "has percent escapes in its host, which not all programs decode; did you mean",
    "https://a%2fb.io/": "has percent escapes in its host, which not all programs decode; write the char",
    "https://a%00.io/": "has percent escapes in its host",
    "https://%2531.io/": "has percent escapes in its host",
    "https://a%.io/": "has percent escapes in its host",
    # addresses
    "https://[::1/": "has an invalid IPv6 address",
    "https://[::1]x/": "has an invalid IPv6 address; write it as [2001:db8::1]; only ':' and a port may follow it",
    "https://[::1]:80:90/": "has an invalid IPv6 address",
    "https://[[::1]]/": "has an invalid IPv6 address",
    "https://[]/": "has an invalid IPv6 address",
    "https://[1.2.3.4]/": "has an invalid IPv6 address",
    "https://[::1.2.3.04]/": "has an invalid IPv6 address",
    "https://[1::2::3]/": "has an invalid IPv6 address",
    "https://[１::]/": "has an invalid IPv6 address",
    "https://[v1.x]/": "has an invalid IPv6 address",
    "https://[fe80::1%25eth0]/": "has an IPv6 address with a zone; did you mean 'https://[fe80::1]/'?",
    "https://[fe80::1%eth0]/": "has an IPv6 address with a zone",
    "https://2001:db8::1/x": "has an IPv6 address without brackets; did you mean 'https://[2001:db8::1]/x'?",
    "https://①②⑦.⓪.⓪.①/": "did you mean 'https://127.0.0.1/'?",
    "https://１２７.0.0.1/": "did you mean 'https://127.0.0.1/'?",
    "https://127。0。0。1/": "did you mean 'https://127.0.0.1/'?",
    "https://%31%32%37.0.0.1/": "did you mean 'https://127.0.0.1/'?",
    "https://1.2.3.4.5/": "has a host that ends in a number but is not an IPv4 address",
    "https://256.1.1.1/": "has a host that ends in a number but is not an IPv4 address",
    "https://1.2.65536/": "has a host that ends in a number but is not an IPv4 address",
    "https://4294967296/": "has a host that ends in a number but is not an IPv4 address",
    "https://1.2.3.08/": "has a host that ends in a number but is not an IPv4 address",
    "https://example.1/": "has a host that ends in a number but is not an IPv4 address",
    "https://example.0xff./": "has a host that ends in a number but is not an IPv4 address",
}


@pytest.mark.parametrize(("url", "words"), BAD.items(), ids=map(ascii, BAD))
def test_a_bad_host_is_one_problem_with_a_hint(url: str, words: str) -> None:
    (message,) = messages(url)

    assert words in message


# -- The public internet

NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::808:808]",
    "[64:ff9b:1::1]",
    "[100::1]",
    "[2001::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[2002:a00:1::1]",
    "[2002:808:808::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "localhost.localdomain",
    "printer.local",
    "metadata.google.internal",
    "host.docker.internal.",
    "nas.home.arpa",
    "hooks.test",
    "hooks.invalid",
    "example",
    "hooks.example",
    "hooks.onion",
    "hooks.alt",
    "nas.lan",
    "HOOKS.CORP.",
    "api.default.svc",
    "hooks.intranet",
    "nas.private",
    "pc.home",
    "relay.mail",
    "intranet",
    "例え",
]
IS_PUBLIC = [
    "8.8.8.8",
    "[2606:4700:4700::1111]",
    "example.com",
    "例え.jp",
    "notlocalhost.com",
    "localhost.example.com",
    "mylocal.io",
    "home.arpa.example.com",
    "corp.example.com",
    "my-corp.com",
    "onion.io",
    "127.0.0.1.nip.io",  # resolves to 127.0.0.1, but the check makes no DNS queries
]


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_a_policy_without_private_hosts_rejects_hosts_off_the_public_internet(host: str) -> None:
    assert messages(f"https://{host}/") == []
    (message,) = messages(f"https://{host}/", PUBLIC)
    assert "has a host that is not on the public internet; give a public host (allow_private_hosts=False)" in message


@pytest.mark.parametrize("host", IS_PUBLIC)
def test_a_policy_without_private_hosts_accepts_public_hosts(host: str) -> None:
    assert messages(f"https://{host}/", PUBLIC) == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0xa9fea9fe", "0251.0376.0251.0376", "10.1", "0x"],
)
def test_the_policy_decides_about_private_addresses_in_any_notation(host: str) -> None:
    assert messages(f"https://{host}/") == []
    (found,) = messages(f"https://{host}/", PUBLIC)
    assert "is not on the public internet" in found
    denied = WebhookUrlPolicy(denied_hosts=["127.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"])
    assert len(messages(f"https://{host}/", denied)) == 1


@pytest.mark.parametrize(
    "host",
    [
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "%31%32%37.0.0.1",
        "%6cocalhost",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "localhost..",
        "::1",
        "[fe80::1%25eth0]",
    ],
)
def test_a_private_host_in_disguise_is_reported_and_not_suggested(host: str) -> None:
    found = messages(f"https://{host}/", PUBLIC)

    assert len(found) == 2
    assert "is not on the public internet" in found[1]
    assert suggestions(found) == []


def test_is_loopback_recognizes_this_machine() -> None:
    assert all(map(is_loopback, ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.9.1", "::1"]))
    assert not any(map(is_loopback, ["", "10.0.0.1", "127.0.0.1.nip.io", "notlocalhost", "::", "intranet", "8.8.8.8"]))


# -- Properties of any host

ipv4 = st.ip_addresses(v=4)
bases = st.sampled_from(["{}", "0x{:x}", "0X{:08X}", "0{:o}", "00{:o}"])


@st.composite
def written_ipv4(draw: st.DrawFn) -> str:
    """Write an IPv4 address in any of the ways that inet_aton reads."""
    value = int(draw(ipv4))
    count = draw(st.integers(0, 3))
    labels = [value >> 8 * (3 - index) & 255 for index in range(count)] + [value & (256 ** (4 - count) - 1)]
    return ".".join(draw(bases).format(label) for label in labels) + draw(st.sampled_from(["", "."]))


@st.composite
def wrapped_ipv4(draw: st.DrawFn) -> str:
    """Write an IPv6 address that embeds an IPv4 address."""
    prefix, shift = draw(
        st.sampled_from(
            [("::", 0), ("::ffff:0:0", 0), ("64:ff9b::", 0), ("64:ff9b:1::", 0), ("2002::", 80), ("2001::", 64)]
        )
    )
    return f"[{ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(draw(ipv4)) << shift)}]"


addresses = (
    ipv4.map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]") | written_ipv4() | wrapped_ipv4() | hostish
)


@thorough
@given(addresses)
@example("0x7f.1")
@example("[::ffff:8.8.8.8]")
@example("[2002:7f00:1::]")
def test_a_policy_without_private_hosts_accepts_nothing_that_python_reads_as_private(host: str) -> None:
    if messages(f"https://{host}/", PUBLIC):
        return
    seen = (URL(f"https://{host}/").raw_host or "").removesuffix(".")
    read: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    with suppress(ValueError):
        read.append(ipaddress.ip_address(seen))
    with suppress(OSError):
        read.append(ipaddress.IPv4Address(socket.inet_aton(seen)))
    read += [address.sixtofour for address in read if isinstance(address, ipaddress.IPv6Address) and address.sixtofour]
    for address in read:
        assert address.is_global
        kinds = (address.is_private, address.is_loopback, address.is_link_local, address.is_unspecified)
        assert not any((*kinds, address.is_multicast, address.is_reserved))


@thorough
@given(written_ipv4())
def test_an_ipv4_address_in_any_notation_is_read_as_inet_aton_reads_it(host: str) -> None:
    address = str(ipaddress.IPv4Address(socket.inet_aton(host.removesuffix("."))))

    assert messages(f"https://{host}/") == []
    assert messages(f"https://{host}/", WebhookUrlPolicy(allowed_hosts=[address])) == []
    assert messages(f"https://{host}/", PUBLIC) == [
        message.replace(f"//{address}/", f"//{host}/") for message in messages(f"https://{address}/", PUBLIC)
    ]

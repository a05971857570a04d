"""Chains of certificates: from a party to an authority that we trust.

The library builds and checks the path (RFC 5280, section 6). Its own policy is that of the web,
which refuses what small authorities make: an authority without keyUsage, as `openssl req -x509`
does, and a party that has no name in DNS. So the extensions are judged here: what is said in
them must hold, and only what makes an authority one must be there. Names are not compared with
an address: whoever has a certificate of our authority is one of us. Nothing is looked up for
certificates that were revoked: let them be short-lived.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from eventgraph.flows.authentication.interface import Side
from eventgraph.flows.errors import AuthenticationError

MAX_CHAIN: Final = 4  # certificates, of the party and those between it and the authority
_MAX_TEXT: Final = 200  # characters of what the other side, or the library, has written

_PURPOSES: Final = {
    Side.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH,
    Side.SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
}


def check_chain(
    authorities: Sequence[x509.Certificate],
    side: Side,
    chain: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """Whether one of the authorities vouches for a party.

    Args:
        side: what the party is; a certificate that names purposes must name this one.
        chain: the party's certificate, then those between it and the authority, in any order.
        now: with a time zone.
    Raises:
        AuthenticationError: none does; says why.
    """
    party = chain[0]
    if now > party.not_valid_after_utc:
        raise AuthenticationError(f"its certificate expired on {party.not_valid_after_utc}")
    if now < party.not_valid_before_utc:
        raise AuthenticationError(
            f"its certificate is not valid before {party.not_valid_before_utc}: compare the clocks"
        )
    verifier = (
        PolicyBuilder()
        .store(Store(list(authorities)))
        .time(now)
        .max_chain_depth(MAX_CHAIN - 1)
        .extension_policies(ca_policy=_of_authorities(side), ee_policy=_of_parties(side))
        .build_client_verifier()  # the other kind compares a name
    )
    try:
        verifier.verify(party, list(chain[1:]))
    except VerificationError as error:
        raise AuthenticationError(
            f"no authority of ours vouches for its certificate: {printable(str(error))}"
        ) from error


def name_of(certificate: x509.Certificate) -> str:
    """Whom it names: the common name, else the first alternative name, else the subject."""
    for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        return printable(str(attribute.value))
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    for name in names:
        return printable(str(name.value))
    return printable(certificate.subject.rfc4514_string()) or "who has no name"


def printable(text: str) -> str:
    """What somebody else wrote, fit for one line of a log."""
    return (text if text.isprintable() else ascii(text))[:_MAX_TEXT]


def _of_authorities(side: Side) -> ExtensionPolicy:
    def signs(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("the key of an authority is not for signing certificates")

    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)  # CA: by the library
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, signs)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for(side))
    )


def _of_parties(side: Side) -> ExtensionPolicy:
    def no_authority(_: Policy, __: x509.Certificate, limits: x509.BasicConstraints | None) -> None:
        if limits is not None and limits.ca:
            raise ValueError("it is that of an authority; the party needs one of its own")

    def signs(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
        if usage is not None and not usage.digital_signature:
            raise ValueError("its key is not for signatures")

    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, no_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, signs)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for(side))
    )


def _is_for(
    side: Side,
) -> Callable[[Policy, x509.Certificate, x509.ExtendedKeyUsage | None], None]:
    allowed = {_PURPOSES[side], ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}

    def check(_: Policy, __: x509.Certificate, purposes: x509.ExtendedKeyUsage | None) -> None:
        if purposes is not None and allowed.isdisjoint(purposes):
            raise ValueError(f"it is not for a {side}")

    return check

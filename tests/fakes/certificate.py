"""A self-made certificate for 127.0.0.1."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """Files in PEM; the certificate is its own authority."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> "Certificate":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        made = cls(directory / "redis.crt", directory / "redis.key")
        made.certificate.write_bytes(certificate.public_bytes(pem))
        made.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        return made

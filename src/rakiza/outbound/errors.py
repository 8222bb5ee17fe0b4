"""Errors of outgoing calls."""

from rakiza.errors import ValidationError

NETWORKS, HOSTS, PORTS = (f"RAKIZA_OUTBOUND_{name}" for name in ("ALLOWED_NETWORKS", "INTERNAL_HOSTS", "PORTS"))


class UnsafeAddressError(ValidationError):
    """Refuse to call a host whose address or port is not open to everybody (422): whoever chose it may be after what stands inside.

    The answer names the host alone: who typed it must not learn where a name leads inside. The error's text has `address` and `kind`, for
    the log, and `remedy` is the setting that would allow the call.
    """

    code, text_ar = "unsafe_address", "لا يُسمح بالاتصال بهذا العنوان"

    def __init__(self, host: str, address: str, kind: str, *, internal_may: bool = False) -> None:
        self.host, self.address, self.kind = host, address, kind
        if kind == "port":
            why, self.remedy = "whose port is not one of those allowed", f"if it should be called, add its port to {PORTS}"
        else:
            why, self.remedy = f"a {kind} address", f"if it should be called, name its network in {NETWORKS}"
            self.remedy += f", or the host in {HOSTS} when it is one of your own" if internal_may else ""
        super().__init__(f"{host} is not called: it is {address}, {why}")
        self.detail = f"{host} is not called: its address or port is not one that may be"
        self.add_note(f"hint: {self.remedy}")

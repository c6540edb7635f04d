"""Registry rows written in the words of the domain: keys with their values, and the listings that go with them."""

from __future__ import annotations

from fleetscan.model.registry import SUBKEY, RegistryRow

OID = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Cryptography\OID\EncodingType 0"
OID_WOW = OID.replace("SOFTWARE", r"SOFTWARE\WOW6432Node")
TRUST = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Cryptography\Providers\Trust"
WINSOCK = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\WinSock2\Parameters"
PE = "{C689AAB8-8E78-11D0-8C47-00C04FC295EE}"
POWERSHELL = "{603BCC1F-4B59-4E08-B724-D2C6297EF351}"
MSI = "{000C10F1-0000-0000-C000-000000000046}"
VERIFY = "CryptSIPDllVerifyIndirectData"
GENERIC_VERIFY = "{00AAC56B-CD44-11D0-8CC2-00C04FC295EE}"
TCP = "E70F1AA0-AB8B-11CF-8CA3-00805F48A192"
DNS = "22059D40-7E9E-11CF-AE5A-00AA00A7112B"

Value = str | tuple[str, str]
"""Text, or type and data."""


def key(path: str, **values: Value) -> list[RegistryRow]:
    """The listing of a key in its parent and its values; ``__`` in a name stands for ``$``."""
    parent, _, name = path.rpartition("\\")
    rows = [RegistryRow(parent, name, SUBKEY, "")]
    for value_name, value in values.items():
        value_type, data = ("REG_SZ", value) if isinstance(value, str) else value
        rows.append(RegistryRow(path, value_name.replace("__", "$"), value_type, data))
    return rows


def sip(guid: str, dll: Value, function: Value = "", function_set: str = VERIFY, tree: str = OID) -> list[RegistryRow]:
    """One SIP registration."""
    values: dict[str, Value] = {"Dll": dll}
    if function:
        values["FuncName"] = function
    return key(f"{tree}\\{function_set}\\{guid}", **values)


def trust(guid: str, step: str, dll: Value, function: Value) -> list[RegistryRow]:
    """One step of a trust provider."""
    return key(f"{TRUST}\\{step}\\{guid}", __DLL=dll, __Function=function)

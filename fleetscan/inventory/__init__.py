"""Hosts and groups from an inventory file, resolved to the hosts of a sweep; selection by pattern."""

from fleetscan.inventory.load import load_inventory
from fleetscan.inventory.resolve import Inventory
from fleetscan.inventory.selection import select

__all__ = ["Inventory", "load_inventory", "select"]

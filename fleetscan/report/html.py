"""stub until next edit"""

from fleetscan.report.document import Document


def render(document: Document) -> str:
    return ""

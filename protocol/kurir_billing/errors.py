"""What can be wrong with evidence, rate cards and invoices.

::

    BillingError
    ├── EvidenceError       a grant, beacon, lane or charge does not prove what it should
    ├── RateCardError       a rate card cannot be used
    ├── LedgerError         a checkpoint, or what it should prove, does not hold
    └── InvoiceError        an invoice differs from the records; names the first difference
"""


class BillingError(Exception):
    """something about this bill or its evidence is wrong"""


class EvidenceError(BillingError):
    """the evidence does not prove what it should"""


class RateCardError(BillingError):
    """the rate card cannot be used"""


class LedgerError(BillingError):
    """the ledger does not say what it should"""


class InvoiceError(BillingError):
    """the invoice differs from the records

    ``where`` names the place (``line 3``, ``total``), ``what`` the difference.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what

"""What columns of the database give together, though each by itself gives little or nothing."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Together

TOGETHER: Final = (
    Together(
        (
            "envelopes.place",
            "envelopes.charge",
            "charges.hash",
            "mailboxes.next_n",
            "mailboxes.depth",
            "leaves.charge",
        ),
        "The write-ahead log keeps the latest commits in their order. Whoever takes it together "
        "with the database can order the latest commits across mailboxes, and see what each "
        "changed: an envelope comes to a business's address, a metered envelope comes to a "
        "mailbox, and it is removed in the same commit in which a leaf appears. That ties a "
        "customer's message to the mailbox of the answer, and the mailbox to the leaf.",
        "until the log is cut: after a fifth of a second without a request, after 5 seconds if "
        "there is no such pause, later while a backup is made; in a copy of the file, as long as "
        "the copy",
    ),
    Together(
        ("envelopes.body", "envelopes.charge", "mailboxes.id"),
        "Where their rows lie in the file follows in part the order in which they came: overflow "
        "pages of bodies, and, faintly, the places of envelopes and charges within one page. "
        "Beside the order of what waits in an address that makes some answers likelier than others "
        "to belong to a message; docs/threat-model.md has figures.",
        "while both wait",
    ),
    Together(
        ("envelopes.expires_hour", "envelopes.charge", "charges.accepted_hour"),
        "With usual lives `expires_hour` tells in which hour a customer's message came to a "
        "business's address, and `accepted_hour` the hour of an answer that waits. A message can "
        "only be answered after it came, and a bot answers within the hour; where an hour has one "
        "message and one answer of a business, they are likely to belong together.",
        "while both wait",
    ),
    Together(
        ("mailboxes.handed_n", "mailboxes.debt"),
        "`handed_n` over 0 marks the mailbox as one that a business paid to write to: a "
        "customer's, not a friend's. It never goes back to 0. It does not say which business.",
        "for good: until the mailbox is deleted or expires",
    ),
    Together(
        ("mailboxes.next_n", "mailboxes.handed_n", "lanes.seq", "leaves.business"),
        "`next_n` less 1 counts the envelopes that a mailbox ever got. Over the mailboxes that "
        "businesses paid for, the sum comes to the `seq` of the lanes and, once all is settled, to "
        "the number of leaves (where no number was skipped and nothing came unmetered). Where "
        "there are few customers only one division of the mailboxes among the businesses may "
        "fit, and that names whose customers they are.",
        "until the mailbox is deleted or expires; `leaves` stay longer, `lanes` shorter",
    ),
    Together(
        ("mailboxes.id", "mailboxes.next_n", "businesses.card"),
        "The card is public and names the business's address, so the `next_n` of that mailbox "
        "counts the messages that customers sent to this business; two copies of the database "
        "show how many came between them.",
        "for as long as the business has this address",
    ),
    Together(
        (
            "charges.hash",
            "charges.accepted_hour",
            "leaves.charge",
            "leaves.leaf",
        ),
        "`charges.hash` is the same value as `leaves.charge`. So each line of an invoice has its "
        "hour of acceptance, next to its market, category, class and price.",
        "32 days at most after acceptance",
    ),
    Together(
        (
            "mailboxes.keep_until",
            "mailboxes.handed_n",
            "leaves.settled_day",
            "leaves.business",
        ),
        "`keep_until` tells the last day on which a mailbox was read. A leaf settled on a day "
        "belongs to a mailbox that was read on or about that day, so if few paid mailboxes "
        "were read then, it can be matched to those, and to one if there was only one. Copies of "
        "several days narrow it down.",
        "until the mailbox is read on a later day, is deleted or expires; a copy of the database "
        "keeps it",
    ),
    Together(
        ("marks.tag", "marks.pass", "mailboxes.id", "leaves.charge", "leaves.leaf"),
        "Whoever also has the relay's PRF key finds the mark of each mailbox and opens its pass: "
        "the second in which the window was opened, and the charge that opened it. That charge is "
        "the hash of a leaf, and under `conversation-2022` stands in the leaves of all messages of "
        "the conversation: these lines of an invoice went into this mailbox.",
        "until the window ends, rounded up to a whole hour: 25 hours (conversation) or 73 (entry)",
    ),
    Together(
        ("starts.tag", "mailboxes.id", "businesses.id"),
        "Whoever also has the relay's PRF key can try each mailbox with each business, and learns "
        "which customers a business with a limit wrote to first (a small one: to whom it wrote).",
        "24 to 25 hours",
    ),
    Together(
        ("leaves.leaf", "leaves.business"),
        "A line that a conversation covers names its opener, so lines of one conversation are "
        "known to be of one customer, not of which. Charges that were signed as a list have one "
        "signature in common: they were sent together, mostly to different customers.",
        "for as long as leaves are kept",
    ),
    Together(
        (
            "envelopes.place",
            "envelopes.charge",
            "envelopes.expires_hour",
            "charges.hash",
            "charges.accepted_hour",
            "charges.body",
            "businesses.id",
        ),
        "While a metered envelope waits, `envelopes.charge` leads to the signed charge, whose lane "
        "names the business: which mailbox is whose customer, since which hour, at which price.",
        "until the envelope is acknowledged or expires (30 days at most)",
    ),
    Together(
        ("blobs.expires_hour", "blobs.chunks", "envelopes.expires_hour"),
        "With usual lives both tell in which hour something came. In an hour in which little "
        "came, an attachment and the envelope that tells of it can be guessed to belong together.",
        "until one of the two is gone",
    ),
)

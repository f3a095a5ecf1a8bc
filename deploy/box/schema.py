"""The tables of the journal, version by version."""

from __future__ import annotations

#: Each entry takes the journal from the version of its place to the next; entries are only added.
MIGRATIONS = (
    """
    CREATE TABLE studies (
        study INTEGER PRIMARY KEY,
        study_instance_uid TEXT NOT NULL UNIQUE,
        revision INTEGER NOT NULL,
        first_received TEXT NOT NULL,
        last_received TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        release_sha256 TEXT NOT NULL,
        predictions TEXT NOT NULL
    ) STRICT;
    CREATE TABLE instances (
        sop_instance_uid TEXT PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies,
        series_instance_uid TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        file TEXT NOT NULL UNIQUE,
        calling_ae_title TEXT NOT NULL,
        received TEXT NOT NULL
    ) STRICT;
    CREATE INDEX instances_of_studies ON instances (study, series_instance_uid);
    CREATE INDEX studies_in_a_state ON studies (state, last_received);
    """,
    """
    CREATE TABLE results (
        sop_instance_uid TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        series_instance_uid TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        file TEXT NOT NULL UNIQUE,
        study INTEGER NOT NULL REFERENCES studies,
        revision INTEGER NOT NULL,
        answered TEXT NOT NULL
    ) STRICT;
    CREATE INDEX results_of_studies ON results (study, answered);
    CREATE TABLE deliveries (
        delivery INTEGER PRIMARY KEY,
        sop_instance_uid TEXT NOT NULL REFERENCES results,
        destination TEXT NOT NULL,
        state TEXT NOT NULL,
        tries INTEGER NOT NULL,
        queued TEXT NOT NULL,
        next_try TEXT NOT NULL,
        last_status INTEGER,
        reason TEXT NOT NULL,
        transaction_uid TEXT NOT NULL,
        UNIQUE (sop_instance_uid, destination)
    ) STRICT;
    CREATE INDEX deliveries_that_are_due ON deliveries (destination, state, next_try);
    CREATE INDEX deliveries_in_transactions ON deliveries (transaction_uid);
    """,
    """
    CREATE TABLE shadows (
        study INTEGER NOT NULL REFERENCES studies,
        revision INTEGER NOT NULL,
        shadow_sha256 TEXT NOT NULL,
        beside_sha256 TEXT NOT NULL,
        beside TEXT NOT NULL,
        predictions TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (study, revision, shadow_sha256, beside_sha256)
    ) STRICT;
    """,
    """
    CREATE INDEX studies_by_time ON studies (last_received);
    CREATE INDEX deliveries_in_a_state ON deliveries (state);
    CREATE INDEX deliveries_to_be_committed ON deliveries (destination, state, next_try)
        WHERE state = 'sent' AND transaction_uid != '';
    """,
    """
    CREATE TABLE forgotten (
        sop_instance_uid TEXT PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies
    ) STRICT;
    CREATE INDEX forgotten_of_studies ON forgotten (study);
    ALTER TABLE studies ADD COLUMN settled TEXT NOT NULL DEFAULT '';
    UPDATE deliveries SET state = 'superseded', reason = 'the study changed'
        WHERE state IN ('queued', 'dead') AND sop_instance_uid IN
        (SELECT sop_instance_uid FROM results JOIN studies USING (study)
            WHERE studies.state = 'failed' OR (studies.state = 'answered' AND results.revision != studies.revision));
    """,
)

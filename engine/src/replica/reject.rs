//! Why the core refused what a peer or a client sent. Each reason is a counter; none is an error of ours (`protocol.md RJ-1`).

use crate::reasons::reasons;

reasons! {
    /// A reason for refusing an authenticated message.
    Reject,
    /// How often each reason occurred.
    RejectCounters:
    /// Bytes that are no message of this version.
    Malformed => "malformed",
    /// A request in whose name another client stands than the one that authenticated it.
    SenderMismatch => "sender mismatch",
    /// A client that the cluster does not know.
    ClientUnknown => "client unknown",
    /// A request packet that holds more than its request.
    RequestNotAlone => "request not alone",
    /// A request in a packet that is not for all replicas: those that it leaves out could not take it from the others.
    RequestNotForAll => "request not for all",
    /// A request longer than the cluster allows.
    RequestTooLarge => "request too large",
    /// A part that is none of its request's.
    PartMisfit => "part misfit",
    /// A part of another request under a name of which one is being put together, or of another length.
    PartConflict => "part conflict",
    /// Parts that together are not what their digest names.
    PartsUnsound => "parts unsound",
    /// A request that is there already.
    RequestDuplicate => "request duplicate",
    /// Another body under the name of a request that is there already.
    RequestConflict => "request conflict",
    /// A request of an incarnation that a later one superseded.
    RequestSuperseded => "request superseded",
    /// A request whose number is further ahead than the client's window allows.
    RequestBeyondWindow => "request beyond window",
    /// A request that is executed, but whose reply is no longer held.
    ReplyGone => "reply gone",
    /// No room for a request's body.
    Overloaded => "overloaded",
    /// A query beyond those of its client that may wait.
    QueryOverload => "query overload",
    /// A client's packet relayed by a replica that nobody here asked for.
    RelayUnasked => "relay unasked",
    /// A request forwarded without a good tag, by too few replicas to take their word.
    RelayUnvouched => "relay unvouched",
    /// A message of another view.
    ViewOther => "view other",
    /// A pre-prepare from a replica that is not the view's primary, or a prepare from the one that is.
    RoleWrong => "role wrong",
    /// A sequence number outside the window.
    OutsideWindow => "outside window",
    /// A pre-prepare, vote or checkpoint that is there already.
    Duplicate => "duplicate",
    /// A second, different pre-prepare for one view and number: the primary lies.
    ProposalConflict => "proposal conflict",
    /// A second, different vote of one replica for one view and number.
    VoteConflict => "vote conflict",
    /// A batch that names an unknown client, or more requests or bytes than a batch may.
    BatchOutOfBounds => "batch out of bounds",
    /// A checkpoint whose digest differs from this replica's own.
    CheckpointDiffers => "checkpoint differs",
    /// A part of a view change or new view that is here already, or is past.
    StatementKnown => "statement known",
    /// A view change or new view that no correct replica writes.
    StatementUnsound => "statement unsound",
    /// A view change, new view, dispute or request that whoever it names did not sign.
    SignatureBad => "signature bad",
    /// A request without a signature, of a client whose requests must have one.
    SignatureRequired => "signature required",
    /// A dispute of a client that is demoted already, or that is here already.
    DisputeKnown => "dispute known",
    /// A testimony that nobody here asked for.
    TestimonyUnasked => "testimony unasked",
    /// A new view that does not follow from the view changes that it names.
    NewViewWrong => "new view wrong",
    /// A batch's content that nobody here asked for.
    BatchUnasked => "batch unasked",
    /// A question that a replica which recovers itself cannot answer.
    Recovering => "recovering",
    /// An answer to no question of this epoch.
    RecoveryUnasked => "recovery unasked",
    /// A view change of an epoch that its replica has forgotten.
    EpochForgotten => "epoch forgotten",
    /// A fetch of what is not here.
    FetchUnknown => "fetch unknown",
    /// A wish for new keys that is not the operator's, or not alone in its packet.
    NotOperator => "not the operator",
    /// A message of the link's own that is not alone in its packet.
    NotAlone => "not alone",
    /// A status or fetch beyond the rate at which a peer is answered.
    RateLimited => "rate limited",
}

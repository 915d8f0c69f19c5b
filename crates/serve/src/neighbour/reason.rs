//! Every end of a neighbour solicitation.

straddle_wire::reasons! {
    /// What became of a solicitation: one name in code, counters, output and manual.
    Answered "answered" "The target is assigned to somebody behind this host; the solicitation was answered."
    NotAssigned "not-assigned" "The target is nobody's behind this host, and was left to whoever has it."
    OwnAddress "own-address" "The target is an address of this host's own, for which the kernel answers."
    DuplicateProbe "duplicate-probe" "Somebody is about to configure the target and asked whether another has it; such a probe is never answered."
    Malformed "malformed" "The message was no solicitation as RFC 4861 has them, or was cut short."
    HopLimit "hop-limit" "The hop limit was not 255, so the solicitation may have come from beyond the link."
    Checksum "checksum" "The checksum was wrong."
    UnsuitableSource "unsuitable-source" "The sender's address, or its link-layer address, was none that a neighbour can have."
    WrongGroup "wrong-group" "The solicitation was sent neither to its target nor to the target's group."
    NotForUs "not-for-us" "The frame was for another host of the link, or was our own."
    RateLimited "rate-limited" "There were more solicitations, from one neighbour or in all, than are answered in that time."
    NoSource "no-source" "The device has no address yet from which an answer could be sent."
    NotSent "not-sent" "The kernel did not take the answer; the neighbour asks again."
}

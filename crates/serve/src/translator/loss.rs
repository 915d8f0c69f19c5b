//! What a tun device does to packets that the translator can't know of.

straddle_wire::reasons! {
    /// Why a packet ended at the device: beside [`straddle_xlat::Reason`], in the same table of counters.
    TunRefused "tun-refused" "The tun device refused the translated packet: it was down, or had no memory."
    TunShort "tun-short" "The tun device gave less than its own header."
}

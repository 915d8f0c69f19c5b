//! One definition for every end of a packet: code, counter, manual and test share it.

/// Makes the enum `Reason` out of lines of variant, counter name (kebab-case) and one sentence.
#[macro_export]
macro_rules! reasons {
    ($(#[$doc:meta])* $($variant:ident $name:literal $sentence:literal)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(usize)]
        pub enum Reason {
            $(#[doc = $sentence] $variant,)*
        }

        impl Reason {
            /// Each of them, in the order of [`Reason::index`].
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name of its counter, in kebab-case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for the manual.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// Its place in a table of [`Reason::COUNT`] counters.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

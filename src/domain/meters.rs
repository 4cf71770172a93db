//! Meters: what a call can be billed by beside plain tokens and requests, and in which tier of service.

use serde::{Deserialize, Serialize};

/// How a provider serves a call, which it prices apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Tier {
    /// As most calls.
    #[default]
    Standard = 1,
    /// Within hours, for less.
    Batch = 2,
    /// When there is room, for less.
    Flex = 3,
    /// Before others, for more.
    Priority = 4,
    /// Before all others, for much more.
    Ultrafast = 5,
    /// Between standard and flex.
    Balanced = 6,
}

impl Tier {
    /// Every tier.
    pub const ALL: [Self; 6] =
        [Self::Standard, Self::Batch, Self::Flex, Self::Priority, Self::Ultrafast, Self::Balanced];

    /// By its number; tokens of holds have it.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| *tier as u8 == number)
    }
}

/// What a meter is to the plain counts of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counts {
    /// It is one of them.
    Plain,
    /// Tokens that are among those of this meter.
    Among(Meter),
    /// Something else, counted in whole units.
    Units,
    /// Time, counted in milliseconds and priced by the second.
    Milliseconds,
}

macro_rules! meters {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal $field:literal $counts:expr;)+) => {
        /// Something that a provider bills by. The first five are the plain counts of a call.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Meter {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Meter {
            /// Every meter, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The member of a price file that tells its price, without what stands for tiers and lengths.
            #[must_use]
            pub const fn field(self) -> &'static str {
                match self {
                    $(Self::$name => $field,)+
                }
            }

            /// What it counts.
            #[must_use]
            pub const fn counts(self) -> Counts {
                match self {
                    $(Self::$name => $counts,)+
                }
            }
        }
    };
}

meters! {
    /// Input tokens that are neither read from a cache nor written to one.
    Input = 1 "input_cost_per_token" Counts::Plain;
    /// Output tokens.
    Output = 2 "output_cost_per_token" Counts::Plain;
    /// Input tokens read from the cache.
    CachedInput = 3 "cache_read_input_token_cost" Counts::Plain;
    /// Input tokens written to the cache.
    CacheWrite = 4 "cache_creation_input_token_cost" Counts::Plain;
    /// Model calls.
    Requests = 5 "input_cost_per_request" Counts::Plain;
    /// Input tokens written to the cache for an hour.
    CacheWriteHour = 6 "cache_creation_input_token_cost_above_1hr" Counts::Among(Self::CacheWrite);
    /// Input tokens written to the cache for twelve hours and more.
    CacheWriteDay = 7 "cache_creation_input_token_cost_above_12hr" Counts::Among(Self::CacheWrite);
    /// Output tokens spent on reasoning.
    Reasoning = 8 "output_cost_per_reasoning_token" Counts::Among(Self::Output);
    /// Input tokens of sound.
    AudioInput = 9 "input_cost_per_audio_token" Counts::Among(Self::Input);
    /// Input tokens of sound, read from the cache.
    CachedAudio = 10 "cache_read_input_audio_token_cost" Counts::Among(Self::CachedInput);
    /// Input tokens of sound, written to the cache.
    AudioCacheWrite = 11 "cache_creation_input_audio_token_cost" Counts::Among(Self::CacheWrite);
    /// Output tokens of sound.
    AudioOutput = 12 "output_cost_per_audio_token" Counts::Among(Self::Output);
    /// Input tokens of images.
    ImageInput = 13 "input_cost_per_image_token" Counts::Among(Self::Input);
    /// Input tokens of images, read from the cache.
    CachedImage = 14 "cache_read_input_image_token_cost" Counts::Among(Self::CachedInput);
    /// Output tokens of images.
    ImageOutput = 15 "output_cost_per_image_token" Counts::Among(Self::Output);
    /// Input tokens of moving pictures.
    VideoInput = 16 "input_cost_per_video_token" Counts::Among(Self::Input);
    /// Output tokens of moving pictures.
    VideoOutput = 17 "output_cost_per_video_token" Counts::Among(Self::Output);
    /// Characters given.
    InputCharacters = 18 "input_cost_per_character" Counts::Units;
    /// Characters made.
    OutputCharacters = 19 "output_cost_per_character" Counts::Units;
    /// Images given; with some models, those made, which their price file then says.
    InputImages = 20 "input_cost_per_image" Counts::Units;
    /// Images made.
    OutputImages = 21 "output_cost_per_image" Counts::Units;
    /// Pixels given; with some models, those made, which their price file then says.
    InputPixels = 22 "input_cost_per_pixel" Counts::Units;
    /// Pixels made.
    OutputPixels = 23 "output_cost_per_pixel" Counts::Units;
    /// Time of what was given.
    InputTime = 24 "input_cost_per_second" Counts::Milliseconds;
    /// Time of what was made.
    OutputTime = 25 "output_cost_per_second" Counts::Milliseconds;
    /// Time of sound given.
    InputAudioTime = 26 "input_cost_per_audio_per_second" Counts::Milliseconds;
    /// Time of moving pictures given.
    InputVideoTime = 27 "input_cost_per_video_per_second" Counts::Milliseconds;
    /// Time of moving pictures made.
    OutputVideoTime = 28 "output_cost_per_video_per_second" Counts::Milliseconds;
    /// Time of moving pictures made with 480 lines.
    OutputTime480p = 29 "output_cost_per_second_480p" Counts::Milliseconds;
    /// Time of moving pictures made with 720 lines.
    OutputTime720p = 30 "output_cost_per_second_720p" Counts::Milliseconds;
    /// Time of moving pictures made with 768 lines.
    OutputTime768p = 31 "output_cost_per_second_768p" Counts::Milliseconds;
    /// Time of moving pictures made with 1080 lines.
    OutputTime1080p = 32 "output_cost_per_second_1080p" Counts::Milliseconds;
    /// Time of moving pictures made with about 2,000 columns.
    OutputTime2k = 33 "output_cost_per_second_2k" Counts::Milliseconds;
    /// Time of moving pictures made with about 4,000 columns.
    OutputTime4k = 34 "output_cost_per_second_4k" Counts::Milliseconds;
    /// Questions of a search or a ranking.
    Queries = 35 "input_cost_per_query" Counts::Units;
    /// Searches of the web by the model, with little context.
    WebSearchesLow = 36 "search_context_cost_per_query.search_context_size_low" Counts::Units;
    /// Searches of the web by the model.
    WebSearches = 37 "search_context_cost_per_query.search_context_size_medium" Counts::Units;
    /// Searches of the web by the model, with much context.
    WebSearchesHigh = 38 "search_context_cost_per_query.search_context_size_high" Counts::Units;
    /// Searches of maps by the model.
    MapSearches = 39 "google_maps_grounding_cost_per_query" Counts::Units;
    /// Pages read.
    Pages = 40 "ocr_cost_per_page" Counts::Units;
    /// Pages annotated.
    AnnotatedPages = 41 "annotation_cost_per_page" Counts::Units;
    /// Messages of text to a model that is billed by time.
    TextMessages = 42 "input_cost_per_text_message" Counts::Units;
    /// Tokens of citations.
    Citations = 43 "citation_cost_per_token" Counts::Units;
    /// Sessions in which code of the model ran.
    CodeSessions = 44 "code_interpreter_cost_per_session" Counts::Units;
}

impl Meter {
    /// By its number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Whether it is one of the plain counts, which have fields of their own.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.counts() == Counts::Plain
    }

    /// By whose price it goes where it has none of its own.
    #[must_use]
    pub const fn priced_as(self) -> Option<Self> {
        match self {
            Self::CachedInput | Self::CacheWrite => Some(Self::Input),
            Self::OutputVideoTime
            | Self::OutputTime480p
            | Self::OutputTime720p
            | Self::OutputTime768p
            | Self::OutputTime1080p
            | Self::OutputTime2k
            | Self::OutputTime4k => Some(Self::OutputTime),
            _ => match self.counts() {
                Counts::Among(whole) => Some(whole),
                _ => None,
            },
        }
    }
}

/// What a call used, or may use, beside the plain counts. Most calls: nothing, in the standard tier.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Metered {
    /// How it is served.
    pub tier: Tier,
    /// How much by which meter, each once and by no plain one; 0 to [`super::prices::MAX_COUNT`].
    pub quantities: Vec<(Meter, i64)>,
}

impl Metered {
    /// Whether there is nothing beside the plain counts.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.tier == Tier::Standard && self.quantities.is_empty()
    }

    /// How many tokens of the plain meter are counted by a meter of their own.
    #[must_use]
    pub fn among(&self, whole: Meter) -> i64 {
        let among = self.quantities.iter().filter(|(meter, _)| meter.counts() == Counts::Among(whole));
        among.fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_has_a_number_of_its_own_and_is_found_by_it() {
        for (place, meter) in Meter::ALL.iter().enumerate() {
            assert_eq!(usize::from(*meter as u8), place + 1);
            assert_eq!(Meter::of_number(*meter as u8), Some(*meter));
        }
        assert_eq!((Meter::of_number(0), Meter::of_number(200)), (None, None));
        for tier in Tier::ALL {
            assert_eq!(Tier::of_number(tier as u8), Some(tier));
        }
    }

    #[test]
    fn tokens_are_among_plain_tokens_and_the_price_of_any_leads_to_a_plain_one() {
        for meter in Meter::ALL {
            if let Counts::Among(whole) = meter.counts() {
                assert!(whole.is_plain());
                assert_eq!(meter.priced_as(), Some(whole));
            }
        }
    }
}

//! The elements that matter for reading documentation; all others are `Other`.

macro_rules! tags {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// An element's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Tag { $($variant),*, Other }

        impl Tag {
            /// How many there are, for tables indexed by tag.
            pub(super) const COUNT: usize = Tag::Other as usize + 1;

            /// The element of that name, in either case.
            pub(super) fn of(name: &[u8]) -> Self {
                let mut lower = [0_u8; 12];
                let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                match &*lower {
                    $($name => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

tags! {
    A = b"a", Address = b"address", Article = b"article", Aside = b"aside", Audio = b"audio",
    Blockquote = b"blockquote", Body = b"body", Br = b"br", Button = b"button", Canvas = b"canvas",
    Caption = b"caption", Center = b"center", Code = b"code", Dd = b"dd", Details = b"details",
    Dialog = b"dialog", Div = b"div", Dl = b"dl", Dt = b"dt", Fieldset = b"fieldset",
    Figcaption = b"figcaption", Figure = b"figure", Footer = b"footer", Form = b"form", H1 = b"h1", H2 = b"h2",
    H3 = b"h3", H4 = b"h4", H5 = b"h5", H6 = b"h6", Head = b"head", Header = b"header", Hr = b"hr",
    Html = b"html", Iframe = b"iframe", Img = b"img", Input = b"input", Kbd = b"kbd", Li = b"li",
    Link = b"link", Main = b"main", Math = b"math", Menu = b"menu", Meta = b"meta", Nav = b"nav", Object = b"object",
    Ol = b"ol", Optgroup = b"optgroup", Option = b"option", P = b"p", Pre = b"pre", Samp = b"samp",
    Script = b"script", Section = b"section", Select = b"select", Span = b"span", Style = b"style",
    Summary = b"summary", Svg = b"svg", Table = b"table", Tbody = b"tbody", Td = b"td", Template = b"template",
    Textarea = b"textarea", Tfoot = b"tfoot", Th = b"th", Thead = b"thead", Title = b"title", Tr = b"tr",
    Tt = b"tt", Ul = b"ul", Video = b"video", Wbr = b"wbr", Area = b"area", Base = b"base", Col = b"col",
    Embed = b"embed", Param = b"param", Source = b"source", Track = b"track",
}

impl Tag {
    /// Elements without content.
    pub(super) fn is_void(self) -> bool {
        use Tag::{Area, Base, Br, Col, Embed, Hr, Img, Input, Link, Meta, Param, Source, Track, Wbr};
        matches!(
            self,
            Area | Base | Br | Col | Embed | Hr | Img | Input | Link | Meta | Param | Source | Track | Wbr
        )
    }

    /// Elements whose content is not markup.
    pub(super) fn is_raw_text(self) -> bool {
        matches!(self, Tag::Script | Tag::Style | Tag::Textarea | Tag::Title | Tag::Iframe)
    }

    /// Elements that begin and end a line.
    pub(super) fn is_block(self) -> bool {
        use Tag::{
            Address, Article, Aside, Blockquote, Body, Center, Dd, Details, Dialog, Div, Dl, Dt, Fieldset,
            Figcaption, Figure, Footer, Form, Header, Hr, Html, Li, Main, Menu, Nav, Ol, P, Pre, Section,
            Summary, Table, Ul,
        };
        self.heading_level().is_some()
            || matches!(
                self,
                Address
                    | Article
                    | Aside
                    | Blockquote
                    | Body
                    | Center
                    | Dd
                    | Details
                    | Dialog
                    | Div
                    | Dl
                    | Dt
                    | Fieldset
                    | Figcaption
                    | Figure
                    | Footer
                    | Form
                    | Header
                    | Hr
                    | Html
                    | Li
                    | Main
                    | Menu
                    | Nav
                    | Ol
                    | P
                    | Pre
                    | Section
                    | Summary
                    | Table
                    | Ul
            )
    }

    /// Cells and what groups them.
    pub(super) fn is_table_part(self) -> bool {
        use Tag::{Caption, Table, Tbody, Td, Tfoot, Th, Thead, Tr};
        matches!(self, Caption | Table | Tbody | Td | Tfoot | Th | Thead | Tr)
    }

    /// 1 to 6 for headings.
    pub(super) fn heading_level(self) -> Option<u8> {
        let level = (self as u8).wrapping_sub(Tag::H1 as u8);
        (level < 6).then(|| level + 1)
    }
}

//! The image that handlers read.

use std::sync::{Arc, RwLock};

use crate::image::Image;

/// Holds the newest published image. Copies share it; a reader keeps the image it took.
#[derive(Clone, Default)]
pub struct ImageCell {
    image: Arc<RwLock<Arc<Image>>>,
}

impl ImageCell {
    /// The newest image.
    #[must_use]
    pub fn load(&self) -> Arc<Image> {
        self.image.read().expect("never poisoned").clone()
    }

    /// Publishes an image.
    pub fn store(&self, image: Arc<Image>) {
        *self.image.write().expect("never poisoned") = image;
    }
}

//! Every row of what costs what, and what holds for all plans.

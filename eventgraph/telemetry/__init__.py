"""OpenTelemetry: sampled events, followed through a graph and on through flows and pipes."""

from eventgraph.telemetry.follower import EventFollower as EventFollower

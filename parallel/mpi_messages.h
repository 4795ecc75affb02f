// Messages over MPI, in pieces of a size that MPI counts. Includes mpi.h: for .cc files that call
// MPI only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parallel/message_communicator.h"
#include "parallel/mpi_call.h"

namespace annulus::parallel {

// What a set of messages needs to know of its communicator.
struct MpiRoute {
  MPI_Comm comm;
  int64_t piece_bytes;
  const std::vector<int>& world_ranks;
  int rank;

  int WorldRank(int of) const { return world_ranks[static_cast<size_t>(of)]; }
  std::string Where(std::string_view what, std::string_view side, int peer) const {
    return fmt::format("rank {}: {} {} rank {}", WorldRank(rank), what, side, WorldRank(peer));
  }
};

class MpiInFlight final : public InFlight {
 public:
  // What `route` refers to and `what` must outlive this.
  MpiInFlight(const MpiRoute& route, std::string_view what) : route_(route), what_(what) {}
  // Requests that are still open belong to a failed rank, which is about to end. The receives are
  // taken back, so that nothing arrives in a buffer that has gone; a send cannot be.
  ~MpiInFlight() override;

  // Once. Receives first, so that what is already on its way finds its buffer.
  void Start(const Messages& messages);

  bool Advance() override;
  Missing Pending() const override;

 private:
  struct Piece {
    int peer;
    int bytes;
    bool receives;
  };

  // Pieces of one message bear one tag: MPI keeps the order of messages between two ranks.
  template <class Body>
  void ForEachPiece(int64_t bytes, const Body& body);
  void Add(const Piece& piece);
  std::string Where(const Piece& piece) const;
  void CheckLength(const Piece& piece, const MPI_Status& status) const;

  const MpiRoute route_;
  const std::string_view what_;
  std::vector<MPI_Request> requests_;
  std::vector<Piece> pieces_;  // of requests_
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
  int open_ = 0;
};

}  // namespace annulus::parallel

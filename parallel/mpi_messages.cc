#include "parallel/mpi_messages.h"

#include <algorithm>

namespace annulus::parallel {

MpiInFlight::~MpiInFlight() {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (pieces_[i].receives) MPI_Cancel(&requests_[i]);
    MPI_Request_free(&requests_[i]);
  }
}

template <class Body>
void MpiInFlight::ForEachPiece(int64_t bytes, const Body& body) {
  int64_t begin = 0;
  do {
    const int64_t piece = std::min(bytes - begin, route_.piece_bytes);
    body(begin, static_cast<int>(piece));
    begin += piece;
  } while (begin < bytes);
}

void MpiInFlight::Start(const Messages& messages) {
  for (const Incoming& receive : messages.receives) {
    ForEachPiece(receive.bytes, [&](int64_t begin, int bytes) {
      Add({receive.from, bytes, true});
      CheckMpi(MPI_Irecv(static_cast<char*>(receive.data) + begin, bytes, MPI_BYTE, receive.from,
                         receive.tag, route_.comm, &requests_.back()),
               "MPI_Irecv", [&] { return Where(pieces_.back()); });
    });
  }
  for (const Outgoing& send : messages.sends) {
    ForEachPiece(send.bytes, [&](int64_t begin, int bytes) {
      Add({send.to, bytes, false});
      CheckMpi(MPI_Isend(static_cast<const char*>(send.data) + begin, bytes, MPI_BYTE, send.to,
                         send.tag, route_.comm, &requests_.back()),
               "MPI_Isend", [&] { return Where(pieces_.back()); });
    });
  }
  open_ = static_cast<int>(requests_.size());
  indices_.resize(requests_.size());
  statuses_.resize(requests_.size());
}

bool MpiInFlight::Advance() {
  if (open_ == 0) return true;
  int finished = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &finished,
                                indices_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
    CheckMpi(code, "MPI_Testsome",
             [&] { return fmt::format("rank {}: {}", route_.WorldRank(route_.rank), what_); });
  }
  for (int i = 0; i < finished; ++i) {
    const MPI_Status& status = statuses_[static_cast<size_t>(i)];
    const Piece& piece = pieces_[static_cast<size_t>(indices_[static_cast<size_t>(i)])];
    if (code == MPI_ERR_IN_STATUS)
      CheckMpi(status.MPI_ERROR, "MPI_Testsome", [&] { return Where(piece); });
    CheckLength(piece, status);
  }
  open_ -= finished;
  return open_ == 0;
}

InFlight::Missing MpiInFlight::Pending() const {
  Missing missing;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    std::vector<int>& side = pieces_[i].receives ? missing.senders : missing.receivers;
    if (side.empty() || side.back() != pieces_[i].peer) side.push_back(pieces_[i].peer);
  }
  return missing;
}

void MpiInFlight::Add(const Piece& piece) {
  pieces_.push_back(piece);
  requests_.push_back(MPI_REQUEST_NULL);
}

std::string MpiInFlight::Where(const Piece& piece) const {
  return route_.Where(what_, piece.receives ? "from" : "to", piece.peer);
}

void MpiInFlight::CheckLength(const Piece& piece, const MPI_Status& status) const {
  if (!piece.receives) return;
  int bytes = 0;
  CheckMpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count", [&] { return Where(piece); });
  if (bytes == piece.bytes) return;
  Check(false, "{}: {} bytes came where {} were expected", Where(piece), bytes, piece.bytes);
}

}  // namespace annulus::parallel
